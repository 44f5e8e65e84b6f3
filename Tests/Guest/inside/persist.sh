# Writes records to /dev/nbd0, each followed by a flush, while the server dies and comes back. What a flush has
# acknowledged is looked for at the end. $port, $name: the export, $records: how many.
. /job/network
attach_client() {
    nbd-client 10.0.2.2 "$port" /dev/nbd0 -N "$name" -persist -nonetlink -nofork
}

# When the server goes, Linux 6.1 ends NBD_DO_IT without an error, and nbd-client 3.24 takes that for the end in spite
# of -persist. What starts it again is the shell here and systemd on a machine (contrib/systemd).
while [ ! -e /tmp/enough ]; do
    attach_client
    echo again >> /results/connections
done > /tmp/client 2>&1 &
keeper=$!

number=0
failures=0
while [ $number -lt "$records" ]; do
    # A record is a sector that says its own number; the place of each is its own too.
    printf 'record %-505s' $number > /tmp/record
    until dd if=/tmp/record of=/dev/nbd0 bs=512 seek=$((number * 64)) oflag=direct conv=fsync,notrunc 2> /tmp/error; do
        failures=$((failures + 1))
        if [ $failures -gt 2000 ]; then
            cat /tmp/client /tmp/error
            exit 1
        fi
        usleep 20000
    done
    number=$((number + 1))
    echo "record $number"
done

number=0
lost=0
while [ $number -lt "$records" ]; do
    dd if=/dev/nbd0 of=/tmp/read bs=512 skip=$((number * 64)) count=1 iflag=direct 2> /dev/null
    read -r word value rest < /tmp/read
    if [ "$word $value" != "record $number" ]; then
        echo "record $number was lost: '$word $value'"
        lost=1
    fi
    number=$((number + 1))
done
touch /tmp/enough
nbd-client -d /dev/nbd0
wait $keeper
exit $lost
