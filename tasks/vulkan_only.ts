/**
 * Has Deno look for Vulkan's adapters alone, on Linux. By itself it opens OpenGL's drivers too, in every thread that asks for an
 * adapter. They are not used here, print "error:" where XDG_RUNTIME_DIR is not set, as in containers, and free memory twice now and then
 * when a process with several threads ends (github.com/gfx-rs/wgpu/issues/4285). Programs import this before they open an adapter; a
 * library must not change the environment.
 */

if (Deno.build.os === "linux" && !Deno.env.get("DENO_WEBGPU_BACKEND")) {
  Deno.env.set("DENO_WEBGPU_BACKEND", "vulkan");
}
