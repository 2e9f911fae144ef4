/** Checks the names of options: one that is misspelt would be as if it were not there. */

/** Throws an Error that names the first of `options` that is not among the `known` of `who`. */
export function checkOptionNames(who: string, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new Error(`${who} has no option "${unknown}"; it has ${known.join(", ") || "none"}`);
}
