#!/bin/bash
# Runs the README's first command in two bare images and writes results/bare-image.md: how long a newcomer waits for the first table.
# An image is Debian's smallest (debootstrap --variant=minbase) in a chroot, with Debian's node and npm, or with Deno and nothing
# else. Wants root, debootstrap and the network; takes half an hour.
#
#     bash tests/support/bare_image.sh
set -euo pipefail
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

make_base() {
  debootstrap --variant=minbase "$release" "$work/base" >&2
  cp /etc/ssl/certs/ca-certificates.crt "$work/base/opt/certificates.pem"
  cp /etc/resolv.conf /etc/hosts "$work/base/etc/"
}

# What was measured in the image NAME, as a row of the table.
row() {
  git clone --quiet "$repository" "$work/$1/root/bora"
  local setup table
  setup=$(seconds_in "$1" "cd bora && sh tasks/setup.sh")
  table=$(seconds_in "$1" "cd bora && deno task reproduce")
  echo "| $2 | $setup | $table | $(((setup + table) / 60)) min $(((setup + table) % 60)) s |"
}

make_base
cp -a "$work/base" "$work/node"
in_image node "apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm" >&2
cp -a "$work/base" "$work/deno"
cp "$(deno eval 'console.log(Deno.execPath())')" "$work/deno/usr/local/bin/deno"

node_row=$(row node "node $(in_image node 'node --version') and npm $(in_image node 'npm --version')")
deno_row=$(row deno "$(in_image deno 'deno --version' | awk 'NR == 1 { print $1, $2 }')")
cat > "$repository/results/bare-image.md" <<PAGE
# In a bare image

\`bash tests/support/bare_image.sh\`: a clone of this repository and the README's first command, as root, in Debian's smallest image
(debootstrap's minbase of $release, in a chroot) with nothing added but what the row names. Set-up fetches the rest: Deno where it is
missing, a software Vulkan driver, the npm packages.

| image has | sh tasks/setup.sh, s | deno task reproduce, s | from clone to first table |
| :-------- | -------------------: | ---------------------: | ------------------------: |
$node_row
$deno_row

Machine: $(nproc) CPUs. Commit $(git -C "$repository" rev-parse --short=10 HEAD)$(git -C "$repository" diff --quiet HEAD || echo " with uncommitted changes").
PAGE
cat "$repository/results/bare-image.md"
