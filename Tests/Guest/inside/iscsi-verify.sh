# fio writes, trims and verifies a disk over iSCSI.
set -e
. /job/iscsi-login
iscsi_login
fio --name=verify --filename=/dev/sda --direct=1 --ioengine=libaio --iodepth=16 --rw=randtrimwrite \
    --bsrange=512-512k --io_size=32m --verify=crc32c --verify_fatal=1 --randseed="$seed" --fsync=32 \
    --output-format=json --output=/results/fio.json
