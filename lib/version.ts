/** The library's version, as `deno.json`, the npm package and the adapters' folders have it. */

/** Three numbers, after semver.org: what changes for users is in CHANGELOG.md. */
export const version = "0.1.0";
