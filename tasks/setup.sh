#!/bin/sh
# Makes a machine ready: Deno, the npm dependencies, and, only where WebGPU finds no adapter, a software Vulkan driver.
# Idempotent; needs root only when something must be installed system-wide, and says then exactly what to run.
#
#     sh tasks/setup.sh && deno task reproduce
set -eu
cd "$(dirname "$0")/.."
deno_version=2.9.6
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

install_deno() {
  command -v npm >/dev/null 2>&1 || fail "neither deno nor npm is here. Install Node.js with npm, or Deno $deno_version, and run this again."
  if [ -w "$(npm prefix -g)" ]; then
    say "installing Deno $deno_version with npm"
    npm install --global --no-audit --no-fund --loglevel=error "deno@$deno_version"
  else
    say "npm's global folder is not writable; installing Deno $deno_version under $HOME/.local"
    npm install --global --prefix "$HOME/.local" --no-audit --no-fund --loglevel=error "deno@$deno_version"
  fi
  if ! command -v deno >/dev/null 2>&1; then
    folder="$(npm prefix -g)/bin"
    [ -x "$folder/deno" ] || folder="$HOME/.local/bin"
    fail "Deno is installed, but not on your PATH. Run:  export PATH=\"$folder:\$PATH\"  and then this again."
  fi
}

install_driver() {
  packages="libvulkan1 mesa-vulkan-drivers"
  say "no Vulkan adapter found; a software Vulkan driver will do (packages $packages)"
  command -v apt-get >/dev/null 2>&1 || fail "this is no Debian system: install a Vulkan driver (Mesa's lavapipe) and run this again."
  [ "$(id -u)" = 0 ] || fail "run as root, then this again:  apt-get update && apt-get install -y $packages"
  apt-get update -qq
  # shellcheck disable=SC2086 -- two packages
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
}

command -v deno >/dev/null 2>&1 || install_deno
say "fetching npm dependencies"
deno cache --quiet mod.ts tasks/*.ts tests/*_test.ts
# On Linux only Vulkan counts: Deno also finds OpenGL drivers, where VK_DRIVER_FILES chooses nothing and which are not tested.
backend=""
[ "$(uname -s)" != Linux ] || backend=vulkan
DENO_WEBGPU_BACKEND="${DENO_WEBGPU_BACKEND:-$backend}" deno eval \
  'Deno.exit(await navigator.gpu?.requestAdapter() ? 0 : 1)' >/dev/null 2>&1 || install_driver
say "ready: $(deno --version | head -n 1)"
deno run --allow-all tasks/doctor.ts
