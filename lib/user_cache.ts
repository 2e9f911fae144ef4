/** The folder for what this library keeps between processes. */

/** `bora-webgpu` in the user's cache folder; undefined where there is none, as in a browser. */
export function userCacheFolder(): string | undefined {
  if (typeof Deno === "undefined") return undefined;
  const under = (variable: string, folder: string) => {
    const home = Deno.env.get(variable);
    return home ? `${home}${folder}/bora-webgpu` : undefined;
  };
  if (Deno.build.os === "windows") return under("LOCALAPPDATA", "");
  if (Deno.build.os === "darwin") return under("HOME", "/Library/Caches");
  return under("XDG_CACHE_HOME", "") ?? under("HOME", "/.cache");
}
