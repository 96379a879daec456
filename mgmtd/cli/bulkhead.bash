# SPDX-License-Identifier: Apache-2.0
# Completion of bulkhead(1) for bash.

_bulkhead_vms() {
	bulkhead --timeout 2 list 2>/dev/null | sed -e 1d -e 's/ .*//'
}

_bulkhead() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= i words
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--server | --key | --server-key | --timeout) ((i++)) ;;
		-*) ;;
		*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	case $prev in
	--key | --server-key | --file | --kernel | --initrd | --module)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--backend) words="auto kvm emu" ;;
	--on-reboot | --on-crash) words="restart off" ;;
	--vm) words=$(_bulkhead_vms) ;;
	*)
		case $command in
		"")
			words="create list show start console pause resume reset shutdown freeze thaw off delete define export
				backup restore copy memory values events jobs host keys disk version help
				--json --server --key --server-key --timeout"
			;;
		copy)
			mapfile -t COMPREPLY < <(compgen -f -W "--overwrite --create-path" -- "$cur")
			return
			;;
		values)
			words="$(_bulkhead_vms) set remove"
			;;
		show | pause | resume | reset | memory | backup | thaw | off | delete | export) words=$(_bulkhead_vms) ;;
		freeze) words="--for $(_bulkhead_vms)" ;;
		shutdown) words="--restart --hibernate $(_bulkhead_vms)" ;;
		start) words="--console $(_bulkhead_vms)" ;;
		console) words="--port --new --expect --send --until --timeout $(_bulkhead_vms)" ;;
		create)
			words="--file --kernel --memory --memory-minimum --memory-maximum --vcpus --initrd --module --cmdline --backend
				--disk --controllers --undo --integration --sockets --serial-ports --on-reboot --on-crash --exit-device --autostart --start"
			;;
		events) words="--follow --last --vm --after --details" ;;
		jobs) words="cancel" ;;
		keys) words="list add remove generate view operate admin" ;;
		disk) words="create info check convert compact merge resize set-parent rebase undo import mount attach detach" ;;
		define)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _bulkhead bulkhead
