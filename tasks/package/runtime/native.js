/** What the library needs of its runtime where that is built in: in Deno and in browsers, which have no `Deno`. */

export const { Deno, DisposableStack, Float16Array } = globalThis;
export const { fromAsync } = Array;
export const { groupBy } = Map;
export const { escape } = RegExp;
export const { f16round } = Math;
export const promiseWithResolvers = () => Promise.withResolvers();
export const fetch = (resource, init) => globalThis.fetch(resource, init);
