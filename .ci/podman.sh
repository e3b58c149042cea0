# Makes containers possible on a bare Debian machine that reaches no image registry: podman from apt, a base image from
# Debian's own packages and this workspace's Node, and the API that testcontainers speaks. Read in by .ci/run, whose
# `cached`, `apt_install` and `cannot` it uses; does nothing twice.
#
#   podman_up      everything above, until the lane ends, however it ends; ends it with a reason where it cannot.
#                  Afterwards $OPENWS_BASE_IMAGE exists.
#
# Its storage is its own, below the cache, so nothing of the machine's other containers is seen or touched.
# shellcheck shell=bash

podman_up() {
  [[ $(id -u) == 0 ]] || cannot "containers are made as root here, and this is $(id -un)"
  apt_install podman runc netavark aardvark-dns iptables debootstrap curl util-linux ||
    cannot "podman is missing and apt cannot install it"
  local state=$cache/podman limit processes
  mkdir -p "$state" /run/openws-podman
  limit=$(ulimit -Hn)
  [[ $limit == unlimited ]] && limit=1048576
  processes=$(cat /proc/sys/kernel/pid_max)
  # podman raises limits, which a machine without CAP_SYS_RESOURCE forbids, so they are named; crun refuses hybrid cgroups,
  # runc does not; there may be no systemd to manage them, nor a journal.
  cat >"$state/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=$limit:$limit", "nproc=$processes:$processes"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
CONF
  printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "/run/openws-podman"\n' "$state/storage" >"$state/storage.conf"
  # The API's process needs them as well.
  export CONTAINERS_CONF=$state/containers.conf CONTAINERS_STORAGE_CONF=$state/storage.conf
  podman info >/dev/null || cannot "podman does not work here"
  forget_name_server

  local folder node
  node=$(node -p process.execPath)
  folder=$(cached base-image "bookworm $("$node" --version) 1" make_base_image "$node") ||
    cannot "no base image could be made: is a mirror of Debian reachable?"
  export OPENWS_BASE_IMAGE=localhost/openws-base:${folder##*-}
  podman image exists "$OPENWS_BASE_IMAGE" ||
    podman import -q --change 'CMD ["node"]' --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' "$folder/base.tar" "$OPENWS_BASE_IMAGE" ||
    cannot "podman could not import the base image"

  # No reaper, whose image is in a registry only; and never the bridge's address, which testcontainers would take on a
  # machine that looks like a container itself.
  export DOCKER_HOST=unix://$OPENWS_CI_RUN/podman.sock TESTCONTAINERS_RYUK_DISABLED=true TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1
  podman system service --time=0 "$DOCKER_HOST" >"$OPENWS_CI_RUN/podman-service.log" 2>&1 &
  podman_service=$!
  trap podman_down EXIT
  local _
  for _ in {1..100}; do
    curl -sf -m 2 --unix-socket "${DOCKER_HOST#unix://}" http://localhost/_ping >/dev/null && return
    sleep 0.1
  done
  cannot "podman's API does not answer"
}

# Removes what a name server that is no more has left in /run, which outlives a restart where it is no tmpfs. netavark
# takes whatever process has its number for it and starts none; the next one fails at an address that is on no interface.
forget_name_server() {
  local folder=/run/containers/networks/aardvark-dns file address
  [[ -e $folder/aardvark.pid && $(cat "/proc/$(<"$folder/aardvark.pid")/comm" 2>/dev/null) == aardvark-dns ]] && return
  for file in "$folder"/*; do
    [[ -f $file ]] || continue # the folder is empty, or missing
    read -r address <"$file" || true # the number has no line end
    [[ $file == */aardvark.pid ]] || ! grep -qwF -- "${address%%[ ,]*}" /proc/net/fib_trie && rm -f "$file"
  done
}

podman_down() {
  podman ps -aq | xargs -r podman rm -f -t 0 >/dev/null # in this storage there are none but the tests'
  podman network prune -f >/dev/null
  podman image prune -f >/dev/null
  kill "$podman_service"
}

make_base_image() { # NODE FOLDER
  debootstrap --variant=minbase bookworm "$2/root" >"$2/debootstrap.log" &&
    rm -rf "$2"/root/var/cache/apt/archives/*.deb "$2"/root/var/lib/apt/lists/* &&
    install -m755 "$1" "$2/root/usr/local/bin/node" &&
    tar -C "$2/root" -cf "$2/base.tar" . &&
    rm -rf "$2/root"
}
