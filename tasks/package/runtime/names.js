/** The names in the library's code that mean what `#runtime` exports: `native.js` or, in Node, `node.js` (package.json's imports). */

export {
  Deno,
  DisposableStack,
  escape as "RegExp.escape",
  f16round as "Math.f16round",
  fetch,
  Float16Array,
  fromAsync as "Array.fromAsync",
  groupBy as "Map.groupBy",
  promiseWithResolvers as "Promise.withResolvers",
} from "#runtime";
