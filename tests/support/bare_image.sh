#!/bin/bash
# Runs the README's first command in two bare images and writes results/bare-image.json and its page: how long a newcomer waits for the first table.
# An image is Debian's smallest (debootstrap --variant=minbase) in a chroot, with Debian's node and npm, or with Deno and nothing
# else. Bytes are what this machine's network interface receives meanwhile, with headers: nothing else may use the network.
# Needs root, debootstrap and the network; takes half an hour, and more on a slow machine.
#
#     bash tests/support/bare_image.sh [WHAT ELSE THE MACHINE RUNS MEANWHILE, a sentence for the page]
set -euo pipefail
beside=${1:-}
repository=$(cd "$(dirname "$0")/../.." && pwd)
release=bookworm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# COMMAND in the image, as root, with nothing of this machine's environment but its certificates: a bare image has none.
in_image() {
  unshare -m sh -c '
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    exec chroot "$0" /usr/bin/env -i HOME=/root TERM=dumb NO_COLOR=1 DEBIAN_FRONTEND=noninteractive \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      NODE_EXTRA_CA_CERTS=/opt/certificates.pem DENO_CERT=/opt/certificates.pem bash -c "cd; $1"
  ' "$work/$1" "$2"
}

# Seconds that COMMAND takes in the image.
seconds_in() {
  local start=$SECONDS
  in_image "$1" "$2" >&2
  echo $((SECONDS - start))
}

# Bytes that the network interface of the default route has received since the machine started.
interface=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route)
received() { awk -v own="$interface:" '$1 == own { print $2 }' /proc/net/dev; }

# Megabytes that came while COMMAND ran in the image.
megabytes_in() {
  local before
  before=$(received)
  in_image "$1" "$2" >&2
  echo $((($(received) - before + 500000) / 1000000))
}

make_base() {
  debootstrap --variant=minbase "$release" "$work/base" >&2
  cp /etc/ssl/certs/ca-certificates.crt "$work/base/opt/certificates.pem"
  cp /etc/resolv.conf /etc/hosts "$work/base/etc/"
}

# What was measured in the image NAME, as JSON.
row() {
  git clone --quiet "$repository" "$work/$1/root/bora"
  local setup table before all packages cache speed
  before=$(received)
  setup=$(seconds_in "$1" "cd bora && sh tasks/setup.sh")
  table=$(seconds_in "$1" "cd bora && deno task reproduce")
  all=$((($(received) - before + 500000) / 1000000))
  cache=$(in_image "$1" "du -sm .cache/deno" | cut -f 1)
  # The packages by themselves, once more and elsewhere: what set-up fetches beside Deno and the driver.
  packages=$(megabytes_in "$1" "cd bora && DENO_DIR=/tmp/again deno cache mod.ts tasks/*.ts lib/*/*_worker.ts")
  speed=$(in_image "$1" "cd bora && deno task --quiet doctor --json" | jq .rates.flopsPerSecond)
  printf '  {"has": "%s", "setupSeconds": %s, "reproduceSeconds": %s, "megabytes": %s, "packageMegabytes": %s, "cacheMebibytes": %s, "flopsPerSecond": %s}' \
    "$2" "$setup" "$table" "$all" "$packages" "$cache" "$speed"
}

make_base
cp -a "$work/base" "$work/node"
in_image node "apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm" >&2
cp -a "$work/base" "$work/deno"
cp "$(deno eval 'console.log(Deno.execPath())')" "$work/deno/usr/local/bin/deno"

node_row=$(row node "node $(in_image node 'node --version') and npm $(in_image node 'npm --version')")
deno_row=$(row deno "$(in_image deno 'deno --version' | awk 'NR == 1 { print $1, $2 }')")
commit=$(git -C "$repository" rev-parse --short=10 HEAD)
git -C "$repository" diff --quiet HEAD || commit+=" with uncommitted changes"
cat > "$repository/results/bare-image.json" <<JSON
{
 "schemaVersion": 1,
 "release": "$release",
 "cpus": $(nproc),
 "commit": "$commit",
$([ -z "$beside" ] || printf ' "beside": %s,' "$(jq --null-input --arg text "$beside" '$text')")
 "images": [
$node_row,
$deno_row
 ]
}
JSON
cd "$repository" && deno task report >/dev/null
cat results/bare-image.md
