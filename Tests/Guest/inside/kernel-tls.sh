# The server runs on this kernel, which has TLS of its own: what clients read over TLS is what is in the image, and the
# kernel has encrypted it. $keys: of alice.
set -e
ip link set lo up
mkdir -p /tmp/keys /results
echo "$keys" > /tmp/keys/keys.psk
dd if=/dev/urandom of=/tmp/image bs=64k count=64 2> /dev/null
spindle serve --listen tcp:127.0.0.1:10809 --tls require --tls-psk /tmp/keys/keys.psk disk=/tmp/image > /tmp/said 2>&1 &
server=$!
tries=0
until grep -q '^serving' /tmp/said; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { cat /tmp/said; exit 1; }
    usleep 100000
done

sessions() { awk '$1 == "TlsTxSw" { print $2 }' /proc/net/tls_stat; }
uri='nbds://alice@127.0.0.1/disk?tls-psk-file=/tmp/keys/keys.psk'

# copy NAME OVERRIDE...: a copy by a client whose GnuTLS does without some things.
copy() {
    name=$1
    shift
    { echo '[overrides]'; for line; do echo "$line"; done; } > /tmp/priorities
    before=$(sessions)
    rm -f /tmp/copy
    GNUTLS_SYSTEM_PRIORITY_FILE=/tmp/priorities nbdcopy "$uri" /tmp/copy
    cmp /tmp/image /tmp/copy
    echo "$name: $(($(sessions) - before)) sessions" | tee -a /results/sessions
}

copy default
copy tls1.2 'disabled-version = tls1.3'
copy aes-128 'tls-disabled-cipher = aes-256-gcm' 'tls-disabled-cipher = chacha20-poly1305' 'tls-disabled-cipher = aes-128-ccm'
copy chacha20 'tls-disabled-cipher = aes-256-gcm' 'tls-disabled-cipher = aes-128-gcm' 'tls-disabled-cipher = aes-128-ccm'

# And back: what is written arrives, whoever encrypts.
dd if=/dev/urandom of=/tmp/new bs=64k count=64 2> /dev/null
nbdcopy /tmp/new "$uri"
cmp /tmp/image /tmp/new
kill $server
wait $server
