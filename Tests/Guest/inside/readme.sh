# The README's commands for a client, each of which has to succeed.
set -e
. /job/network
. /job/readme
