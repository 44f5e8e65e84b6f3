# Writes records to /dev/nbd0, each followed by a flush, while the server dies and comes back. What a flush has
# acknowledged is written down here and looked for at the end. $port, $name: the export, $records: how many.
. /job/network
nbd-client 10.0.2.2 "$port" /dev/nbd0 -N "$name" -persist -nonetlink -nofork > /tmp/client 2>&1 &
client=$!
until [ -s /sys/block/nbd0/pid ]; do usleep 50000; done

number=0
retries=0
while [ $number -lt "$records" ]; do
    # A record is a sector that says its own number; the place of each is its own too.
    printf 'record %-505s' $number > /tmp/record
    until dd if=/tmp/record of=/dev/nbd0 bs=512 seek=$((number * 64)) oflag=direct conv=fsync,notrunc 2>/tmp/error; do
        retries=$((retries + 1))
        [ $retries -lt 40 ] || { cat /tmp/client; cat /tmp/error; exit 1; }
        usleep 20000
    done
    number=$((number + 1))
    echo "record $number"
done
echo $retries > /results/retries

number=0
lost=0
while [ $number -lt "$records" ]; do
    dd if=/dev/nbd0 of=/tmp/read bs=512 skip=$((number * 64)) count=1 iflag=direct 2>/dev/null
    read -r word value < /tmp/read
    [ "$word $value" = "record $number" ] || { echo "record $number was lost: '$word $value'"; lost=1; }
    number=$((number + 1))
done
dmesg | grep -i nbd | tail -30 > /results/log
nbd-client -d /dev/nbd0
wait $client
exit $lost
