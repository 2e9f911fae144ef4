/**
 * `announce.ts FLAG SIZE`: prints the download size of the bench's libraries before a command fetches those
 * that Deno's cache lacks. FLAG says how the command finds their versions: --lock=FILE or --no-lock.
 */

const [flag, size] = Deno.args;
const { success } = await new Deno.Command(Deno.execPath(), {
  args: ["run", "--allow-all", "--cached-only", flag, "bench/main.ts", "--help"],
  stdout: "null",
  stderr: "null",
}).output();
if (!success) console.error(`Fetching the libraries of the bench, once: ${size}`);
