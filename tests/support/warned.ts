/** Listens to warnings. */

/** What `body` gives, and the lines that it warned of. */
export async function warned<T>(body: () => Promise<T>): Promise<{ result: T; lines: string[] }> {
  const [original, lines]: [typeof console.warn, string[]] = [console.warn, []];
  console.warn = (line: string) => lines.push(line);
  try {
    return { result: await body(), lines };
  } finally {
    console.warn = original;
  }
}
