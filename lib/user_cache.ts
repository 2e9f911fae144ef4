/** The folder for what this library keeps between processes. */

/** The environment variables that may name its place, of which the first that is set counts, and where it is under them. */
function places(): readonly (readonly [variable: string, folder: string])[] {
  if (typeof Deno === "undefined") return [];
  if (Deno.build.os === "windows") return [["LOCALAPPDATA", ""]];
  if (Deno.build.os === "darwin") return [["HOME", "/Library/Caches"]];
  return [["XDG_CACHE_HOME", ""], ["HOME", "/.cache"]];
}

/** `bora-webgpu` in the user's cache folder; undefined where there is none, as in a browser. */
export function userCacheFolder(): string | undefined {
  for (const [variable, folder] of places()) {
    const place = Deno.env.get(variable);
    if (place) return `${place}${folder}/bora-webgpu`;
  }
  return undefined;
}

/** Whether the folder can be read and written here, and without asking the user for a permission. */
export function mayUseUserCache(): boolean {
  const isGranted = (permission: Deno.PermissionDescriptor) =>
    Deno.permissions.querySync(permission).state === "granted";
  if (!places().every(([variable]) => isGranted({ name: "env", variable }))) return false;
  const path = userCacheFolder();
  return path !== undefined && (["read", "write"] as const).every((name) => isGranted({ name, path }));
}
