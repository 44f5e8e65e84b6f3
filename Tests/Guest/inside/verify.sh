# fio writes, trims and verifies /dev/nbd0. $port, $name: the export.
set -e
. /job/network
attach "$port" "$name" -C 4
fio --name=verify --filename=/dev/nbd0 --direct=1 --ioengine=libaio --iodepth=16 --rw=randtrimwrite \
    --bsrange=512-128k --io_size=24m --verify=crc32c --verify_fatal=1 --randseed="$seed" --fsync=32 \
    --output-format=json --output=/results/fio.json
detach
