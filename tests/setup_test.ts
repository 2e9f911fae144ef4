/**
 * A user's first minutes: set-up reports everything at once and raises no false alarm; where a first run's
 * results go.
 */

import assert from "node:assert/strict";

const root = new URL("..", import.meta.url);

/** A folder of programs, each a shell script, beside those of the system that setup.sh uses. */
async function programs(folder: string, scripts: Readonly<Record<string, string>>): Promise<string> {
  const path = `${folder}/programs`;
  await Deno.mkdir(path);
  for (const name of ["dirname", "mkdir", "uname"]) await Deno.symlink(`/usr/bin/${name}`, `${path}/${name}`);
  for (const [name, script] of Object.entries(scripts)) {
    await Deno.writeTextFile(`${path}/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return path;
}

/** Runs setup.sh where there are only these programs; `{home}` in their scripts is the user's folder. */
async function setUp(scripts: Readonly<Record<string, string>>) {
  const home = await Deno.makeTempDir();
  try {
    const { code, stderr } = await new Deno.Command("/bin/sh", {
      args: [new URL("tasks/setup.sh", root).pathname],
      clearEnv: true,
      env: { HOME: home, PATH: await programs(home, scripts) },
    }).output();
    return { code, stderr: new TextDecoder().decode(stderr).replaceAll(home, "{home}") };
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

/** A Deno that is new enough and finds no adapter. */
const deno = 'case "$2" in *requestAdapter*) exit 1 ;; esac';

Deno.test("set-up of a user who is not root stops once, and names all that is left before it fetches anything", async () => {
  const install = `mkdir -p "$HOME/.local/bin"\nprintf '#!/bin/sh\\n${deno.replaceAll('"', '\\"')}\\n' ` +
    `> "$HOME/.local/bin/deno"\n/bin/chmod +x "$HOME/.local/bin/deno"`;
  const { code, stderr } = await setUp({
    npm: `[ "$1" = prefix ] && echo /nowhere && exit\n${install}`,
    id: "echo 1000",
    "apt-get": "exit 100",
  });
  assert.equal(
    stderr,
    `setup: this is left to you, in this order:
    export PATH="{home}/.local/bin:$PATH"    # and in ~/.profile, for later
    apt-get update && apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers    # as root
    sh tasks/setup.sh
`,
  );
  assert.equal(code, 1);
});

Deno.test("set-up refuses an old Deno where there is no npm to install a new one", async () => {
  const { code, stderr } = await setUp({ deno: "exit 1" });
  assert.match(stderr, /^setup: neither Deno 2\.9 or later nor npm is here\. Install/);
  assert.equal(code, 1);
});

Deno.test("set-up that cannot fetch Deno says what to do about certificates", async () => {
  const { code, stderr } = await setUp({
    npm: '[ "$1" = prefix ] && echo /nowhere && exit\necho "npm ERR! self-signed certificate" >&2; exit 1',
  });
  assert.match(
    stderr,
    /^npm ERR!.*\nsetup: npm could not fetch Deno\. If .* certificates: .* NODE_EXTRA_CA_CERTS .*\n$/,
  );
  assert.equal(code, 1);
});

Deno.test("set-up says the megabytes that README says", async () => {
  const textOf = (path: string) => Deno.readTextFile(new URL(path, root));
  const [, fetched, cached] = (await textOf("README.md")).match(/npm packages \((\d+) MB; (\d+) MB in/)!;
  assert.match(
    await textOf("tasks/setup.sh"),
    new RegExp(`: ${fetched} MB to download, ${cached} MB in Deno's cache, once`),
  );
});

Deno.test("a command that opens an adapter opens no driver of OpenGL's, and prints nothing of its own in a container", async () => {
  const { XDG_RUNTIME_DIR: _, DENO_WEBGPU_BACKEND: __, ...env } = Deno.env.toObject();
  const program = `import "${new URL("tasks/usage.ts", root)}"; await navigator.gpu.requestAdapter();
    console.log(Deno.readTextFileSync("/proc/self/maps"));`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", program],
    clearEnv: true,
    env,
  }).output();
  assert.equal(new TextDecoder().decode(stderr), "");
  const libraries = new TextDecoder().decode(stdout);
  assert.match(libraries, /libvulkan/);
  assert.doesNotMatch(libraries, /libEGL|libGLX/);
});

Deno.test("a profile's results go to a folder of its own, and only the default profile's to results/", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const [profile, out] of [["default", "results"], ["smoke", "results/smoke"]]) {
      await Deno.mkdir(`${folder}/${out}`, { recursive: true });
      await Deno.writeTextFile(`${folder}/${out}/first-table.json`, "{}");
      // A shard refuses to replace the file, and its message names the file.
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", new URL("tasks/reproduce.ts", root).href, "--profile", profile, "--shard", "1/2"],
        cwd: folder,
      }).output();
      const message = new TextDecoder().decode(stderr);
      assert.ok(message.startsWith(`${out}/first-table.json may hold another part's cells`), message);
      assert.equal(code, 2);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
