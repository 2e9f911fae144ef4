#!/bin/sh
# Builds llvmpipe, Mesa's software driver for Vulkan, with llvmpipe.patch beside this file: training takes about half the
# time on it, and every bit is that of Mesa 25.0.7 as Debian ships it (tests/golden_programs_test.ts sees that).
#
#     sh tasks/driver/build.sh MESA DIR
#     VK_DRIVER_FILES=DIR/icd.json deno task reproduce
#
# MESA is a folder with Mesa 25.0.7's sources, as in mesa-25.0.7.tar.xz (Debian: mesa_25.0.7.orig.tar.xz); it is patched.
# DIR is made. Needs Debian's packages g++, patch, ninja-build, pkg-config, bison, flex, glslang-tools, llvm-19-dev,
# libdrm-dev (of the release that the installed libdrm is from), zlib1g-dev, libzstd-dev, libelf-dev and libexpat1-dev, or
# another system's, and from PyPI meson, mako, pyyaml and packaging. Ten minutes on 2 cores. LLVM_CONFIG names another
# LLVM's llvm-config. The patch has the licence of the files that it changes (MIT).
set -eu
[ $# = 2 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here="$(cd "$(dirname "$0")" && pwd)"
mesa="$(cd "$1" && pwd)"
mkdir -p "$2"
out="$(cd "$2" && pwd)"
library="$out/build/src/gallium/targets/lavapipe/libvulkan_lvp.so"

[ "$(cat "$mesa/VERSION")" = 25.0.7 ] || { echo "$mesa is Mesa $(cat "$mesa/VERSION"), and the patch is for 25.0.7" >&2; exit 1; }
patch --dry-run --reverse --force --silent -d "$mesa" -p1 < "$here/llvmpipe.patch" >/dev/null ||
  patch -d "$mesa" -p1 < "$here/llvmpipe.patch"
printf "[binaries]\nllvm-config = '%s'\n" "${LLVM_CONFIG:-llvm-config-19}" > "$out/llvm.ini"
[ -f "$out/build/build.ninja" ] || meson setup "$out/build" "$mesa" --native-file "$out/llvm.ini" -Dbuildtype=release \
  -Dvulkan-drivers=swrast -Dgallium-drivers=llvmpipe -Dplatforms= -Dllvm=enabled -Dshared-llvm=enabled \
  -Dopengl=false -Dgles1=disabled -Dgles2=disabled -Dglx=disabled -Degl=disabled -Dgbm=disabled \
  -Dgallium-va=disabled -Dgallium-vdpau=disabled -Dvideo-codecs= -Dvalgrind=disabled -Dlibunwind=disabled -Dlmsensors=disabled
ninja -C "$out/build" "${library#"$out/build/"}"
cat > "$out/icd.json" <<JSON
{ "file_format_version": "1.0.1", "ICD": { "library_path": "$library", "api_version": "1.4.305" } }
JSON
echo "VK_DRIVER_FILES=$out/icd.json"
