/**
 * `announce.ts FLAG SIZE`: says how much comes, before a command fetches the libraries that the bench races and Deno's cache does not
 * have. FLAG is how the command finds their versions, --lock=FILE or --no-lock.
 */

const [flag, size] = Deno.args;
const { success } = await new Deno.Command(Deno.execPath(), {
  args: ["run", "--allow-all", "--cached-only", flag, "bench/main.ts", "--help"],
  stdout: "null",
  stderr: "null",
}).output();
if (!success) console.error(`Fetching the libraries of the bench, once: ${size}`);
