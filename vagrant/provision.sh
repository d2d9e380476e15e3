#!/bin/sh
# Installs interceptor in the VM, with the demo's mesh documents as its mesh. Idempotent.
set -eu
root=/opt/interceptor

"$root/scripts/setup"
ln -sf "$root/.venv/bin/interceptor" /usr/local/bin/interceptor

install -d -m 755 /etc/interceptor
if [ ! -d /etc/interceptor/mesh ]; then
	cp -r "$root/interceptor/lab/mesh" /etc/interceptor/mesh
fi

interceptor config check
interceptor resolve reviews.bookinfo.svc.cluster.local
echo "provision: interceptor $(interceptor --version) is installed; start it with: sudo interceptor run"
