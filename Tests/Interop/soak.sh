#!/usr/bin/env bash
# A longer test of a spindle that was built, with 1 GiB of random data: in and out by nbdcopy under each cache mode and over
# both kinds of sockets, compared by qemu-img, a minute of random work whose every block fio verifies, and an hour of torture,
# and half an hour of torture with a host that fails.
#
# Usage: Tests/Interop/soak.sh [SPINDLE]     by default .build/release/spindle of this checkout; needs 4 GiB in /var/tmp
set -euo pipefail

spindle=$(realpath "${1:-$(dirname "$0")/../../.build/release/spindle}")
torture=$(realpath "$(dirname "$0")/torture")
folder=$(mktemp -d /var/tmp/spindle-soak.XXXXXX)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
cd "$folder"

# Serves disk.img with the given options; its sockets are 'socket' and the port in $port.
serve() {
    : >announcement
    "$spindle" serve --listen unix:socket --listen tcp:127.0.0.1:0 "$@" disk.img >announcement 2>log &
    server=$!
    until grep -q ' at nbd://' announcement; do
        kill -0 "$server" 2>/dev/null || { cat log >&2; exit 1; }
        sleep 0.02
    done
    port=$(sed -n 's|.* at nbd://127.0.0.1:\([0-9]*\)/.*|\1|p' announcement)
}

# Stops the server, which has to end well.
stop() {
    kill "$server"
    wait "$server" || { echo "the server ended with $?" >&2; cat log >&2; exit 1; }
    server=
}

identical() {
    qemu-img compare -q -f raw -F raw "$1" "$2" || { echo "$1 and $2 differ ($3)" >&2; exit 1; }
}

echo "1 GiB of random data"
dd if=/dev/urandom of=source bs=1M count=1024 iflag=fullblock status=none
for mode in writeback writethrough none directsync unsafe; do
    rm -f disk.img
    truncate -s 1G disk.img
    serve --cache "$mode"
    for uri in "nbd+unix:///?socket=$folder/socket" "nbd://127.0.0.1:$port/"; do
        begun=$(date +%s)
        nbdcopy source "$uri"
        identical source "$uri" "$mode, served"
        nbdcopy "$uri" copy
        identical source copy "$mode, copied out"
        rm copy
        echo "--cache $mode, ${uri%%:*}: identical, $(($(date +%s) - begun)) s"
    done
    stop
    identical source disk.img "$mode, at rest"
done

for mode in writeback none; do
    serve --cache "$mode"
    fio --ioengine=nbd --uri="nbd+unix:///?socket=$folder/socket" --verify_state_save=0 --verify_fatal=1 --group_reporting \
        --minimal --iodepth=32 --time_based --runtime=30 --randrepeat=0 \
        --name=verified --numjobs=6 --size=128M --offset_increment=128M --rw=randwrite --bsrange=512-128k \
        --verify=crc32c --verify_backlog=1024 --fsync=512 \
        --name=trim --offset=768M --size=128M --rw=randtrim --bsrange=4k-1M \
        --name=read --offset=896M --size=128M --rw=randread --bsrange=512-1M >fio.txt \
        || { cat fio.txt >&2; exit 1; }
    echo "--cache $mode: 30 s of verified random work"
    stop
done
"$torture" "$spindle" --seconds "${TORTURE_SECONDS:-3600}"
if [ "$(id -u)" = 0 ]; then
    "$torture" "$spindle" --faults --seconds "$((${TORTURE_SECONDS:-3600} / 2))"
else
    echo "no torture with a failing host: it takes root"
fi
echo "all well"
