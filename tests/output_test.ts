/** Where commands write: all of them treat a trailing slash, missing folders and `..` in the same way. */

import assert from "node:assert/strict";
import { writeFolder, writeWhole } from "../lib/files.ts";
import { lockFor } from "../tasks/lock.ts";
import { newFolder, outputFile, outputFolder } from "../tasks/output.ts";
import { withFolder } from "./support/files.ts";

const namesIn = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).toSorted();

Deno.test("a path is the same with slashes at its end, with . and with .. through folders that are not there", () =>
  withFolder(async (folder) => {
    for (
      const out of [
        "new/out",
        "new/out/",
        "new//out//",
        "./new/./out/.",
        "none/../new/out",
        "none/../new/out/",
      ]
    ) {
      for (const placeOf of [outputFolder, newFolder]) {
        assert.equal(await placeOf(`${folder}/${out}`), `${folder}/new/out`, out);
        if (placeOf === outputFolder) await Deno.remove(`${folder}/new/out`);
      }
      assert.deepEqual(namesIn(folder), ["new"], out);
      assert.deepEqual(namesIn(`${folder}/new`), [], out);
      await Deno.remove(`${folder}/new`);
    }
    assert.equal(await outputFile(`${folder}/a/../b/page.md`), `${folder}/b/page.md`);
    assert.deepEqual(namesIn(folder), ["b"]);
  }));

Deno.test("what .. leads to is what the system says where the folder before it is a link", () =>
  withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/far/inner`, { recursive: true });
    await Deno.symlink(`${folder}/far/inner`, `${folder}/link`);
    assert.equal(await outputFolder(`${folder}/link/../out`), `${folder}/far/out`);
  }));

Deno.test("paths that cannot be written to are refused with what is wrong", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "");
    await assert.rejects(() => outputFolder(""), /--out is empty/);
    await assert.rejects(() => outputFolder(`${folder}/file/out`), /file.* cannot be written/);
    await assert.rejects(() => newFolder(`${folder}/file/`), /file exists: move it away/);
    await assert.rejects(() => outputFile(`${folder}/`), /is a folder's path: name a file in it/);
    await assert.rejects(() => outputFile(`${folder}/new/`), /is a folder's path: name a file in it/);
  }));

Deno.test("what lies where a folder, its temporary folder or its lock is to be stays as it is", () =>
  withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/out.part`);
    await Deno.writeTextFile(`${folder}/out.part/thesis.txt`, "precious");
    for (
      const write of [() => newFolder(`${folder}/out`), () => writeFolder(`${folder}/out`, async () => {})]
    ) {
      await assert.rejects(write, /out\.part exists, perhaps since a run that was killed/);
    }
    assert.equal(await Deno.readTextFile(`${folder}/out.part/thesis.txt`), "precious");
    await Deno.symlink(`${folder}/nowhere`, `${folder}/link`);
    for (const path of [`${folder}/link`, `${folder}/link/`, "/dev/null"]) {
      await assert.rejects(() => newFolder(path), /exists: move it away/, path);
    }
    await Deno.writeTextFile(`${folder}/poetry.lock`, "[metadata]");
    await assert.rejects(() => lockFor(`${folder}/poetry`), /poetry\.lock is no lock of this command/);
    assert.equal(await Deno.readTextFile(`${folder}/poetry.lock`), "[metadata]");
    await Deno.writeTextFile(`${folder}/killed.lock`, "process 12 on a.host");
    using _ = await lockFor(`${folder}/killed`);
  }));

Deno.test("of two that write one folder at once, one is refused, and the other's files are whole", () =>
  withFolder(async (folder) => {
    const write = (text: string) =>
      writeFolder(`${folder}/out`, async (part) => {
        for (const name of ["a", "b"]) await writeWhole(`${part}/${name}`, text);
      });
    const [first, second] = await Promise.allSettled([write("first"), write("second")]);
    const refused = [first, second].filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
    assert.equal(refused.length, 1);
    assert.match(
      refused[0].reason.message,
      /out\.part exists, perhaps since a run that was killed, or another/,
    );
    const texts = ["a", "b"].map((name) => Deno.readTextFileSync(`${folder}/out/${name}`));
    assert.deepEqual(new Set(texts).size, 1);
    assert.deepEqual(namesIn(folder), ["out"]);
  }));

Deno.test("a lock that someone removed is no error at the end, and another run's is left alone", () =>
  withFolder(async (folder) => {
    const path = `${folder}/out`;
    const gone = await lockFor(path);
    await Deno.remove(`${path}.lock`);
    gone[Symbol.dispose]();
    const first = await lockFor(path);
    await Deno.remove(`${path}.lock`);
    using _ = await lockFor(path);
    first[Symbol.dispose]();
    assert.deepEqual(namesIn(folder), ["out.lock"]);
  }));

Deno.test("a lock makes the folders it lies in", () =>
  withFolder(async (folder) => {
    {
      using _ = await lockFor(`${folder}/a/b/out`);
      assert.deepEqual(namesIn(`${folder}/a/b`), ["out.lock"]);
      await assert.rejects(() => lockFor(`${folder}/a/b/out`), /another run is writing/);
    }
    assert.deepEqual(namesIn(`${folder}/a/b`), []);
  }));
