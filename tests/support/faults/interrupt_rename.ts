/** Preloaded into a command: Ctrl-C when a folder is whole but for its name, which it then gets a minute later. */

const { rename } = Deno;
Deno.rename = async (from, to) => {
  if (`${from}`.endsWith(".part") && Deno.statSync(from).isDirectory) {
    Deno.kill(Deno.pid, "SIGINT");
    await new Promise((done) => setTimeout(done, 60_000));
  }
  await rename(from, to);
};
