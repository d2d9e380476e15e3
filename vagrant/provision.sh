#!/bin/sh
# Installs interceptor in a VM of the Vagrantfile. Idempotent.
#
#   provision.sh agent|peer
set -eu
role=$1
from=/tmp/interceptor
export DEBIAN_FRONTEND=noninteractive
say() { printf 'provision: %s\n' "$*"; }

install_packages() { apt-get install -q -q -y "$from"/packages/*.deb >/dev/null; }
# A box that has what they depend on needs no mirror.
if ! install_packages 2>/dev/null; then
	say "asking the mirror for what the packages depend on"
	apt-get update -q -q
	install_packages
fi

# /etc/interceptor is root's alone.
cp "$from"/mesh/*.yaml /etc/interceptor/mesh/
if [ "$role" = peer ]; then
	# An application that knows nothing of any mesh, and is called through the sidecar.
	install -d /srv/web
	echo "hello from $(hostname)" >/srv/web/index.html
	cat >/etc/systemd/system/web.service <<-END
		[Unit]
		Description=A web server
		[Service]
		DynamicUser=yes
		ExecStart=/usr/bin/python3 -m http.server 8080 --directory /srv/web
		[Install]
		WantedBy=multi-user.target
	END
	systemctl daemon-reload
	systemctl enable --quiet --now web
	INBOUND='inbound: {ports: [8080]}'
fi
cat >/etc/interceptor/interceptor.yaml <<-END
	node: {namespace: lab}
	capture: {${INBOUND:-}}
END
interceptor config check
systemctl enable --quiet interceptor
systemctl restart interceptor
systemctl --no-pager --lines=0 status interceptor | sed -n '1,3p'
say "$(interceptor --version) runs on $role"
