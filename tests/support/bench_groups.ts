/** The bench's groups as their files say: importing them imports all that they are raced against. */

const works = new URL("../../bench/works/", import.meta.url);

/** The names of the bench's groups. */
export function benchGroups(): string[] {
  const texts = [...Deno.readDirSync(works)].map(({ name }) => Deno.readTextFileSync(new URL(name, works)));
  return texts.flatMap((text) => [...text.matchAll(/: Group = \{\n +name: "(.+)"/g)].map(([, name]) => name));
}
