#!/bin/sh
# Runs `deno task gpu` from a pack (deno task gpu --pack) on a Linux x86_64 machine with a GPU's driver. It needs no network, and
# nothing but a shell, tar and gzip. Options go to the command; paths in them must be absolute. Results go to ./gpus.
# deno.gz and rest.tar.gz lie beside this file. Where less may be carried at a time, carry one after the other, then run this.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
place="$here/unpacked"
out="$PWD/gpus"

if [ ! -e "$place/whole" ]; then
  rm -rf "$place"
  mkdir -p "$place"
  tar -xzf "$here/rest.tar.gz" -C "$place"
  gzip -dc "$here/deno.gz" > "$place/deno"
  chmod +x "$place/deno"
  : > "$place/whole"
fi

export DENO_DIR="$place/cache" XDG_CACHE_HOME="$place/user-cache" HOME="${HOME:-$place}"
export DENO_NO_UPDATE_CHECK=1 NO_COLOR=1 PATH="$place:$PATH"
# Deno also finds OpenGL's drivers, and would take one in silence where Vulkan's is missing.
export DENO_WEBGPU_BACKEND="${DENO_WEBGPU_BACKEND:-vulkan}"
# Of the pack's libraries, those that the machine has not.
mkdir -p "$place/lacking"
for library in "$place"/libraries/*; do
  name="$(basename "$library")"
  /sbin/ldconfig -p 2> /dev/null | grep -q "[[:space:]]$name " || ln -sf "$library" "$place/lacking/$name"
done
export LD_LIBRARY_PATH="$place/lacking${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# Containers often have NVIDIA's driver where the loader does not look.
nvidia=/usr/local/nvidia
if [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && [ -e "$nvidia/share/vulkan/icd.d/nvidia_icd.json" ]; then
  export VK_DRIVER_FILES="$nvidia/share/vulkan/icd.d/nvidia_icd.json" LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$nvidia/lib64"
fi

cd "$place/source"
exec "$place/deno" task --quiet gpu --out "$out" "$@"
