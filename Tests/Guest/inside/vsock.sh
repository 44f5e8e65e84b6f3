# Serves an image by vsock, to this machine itself: its context is 1 (vsock(7), VMADDR_CID_LOCAL).
set -e
dd if=/dev/urandom of=/tmp/data bs=1M count=8 2> /dev/null
truncate -s 8M /tmp/image
spindle serve --listen vsock:10810 image=/tmp/image > announcement &
server=$!
until grep -qs serving announcement; do kill -0 $server; done
# Who is last to close a connection is another one each time; a client must not see an error in any order.
for round in $(seq 20); do nbdinfo --size nbd+vsock://1:10810/ > size; done
nbdcopy /tmp/data nbd+vsock://1:10810/image
nbdcopy nbd+vsock://1:10810/image /tmp/back
cmp /tmp/data /tmp/back
! spindle serve --listen vsock:10810 null:1M 2> second
kill $server
wait $server
cmp /tmp/data /tmp/image
