/** What the library reads from files, packages and the hub, in few words, for comparing Deno with Node. */

/** `hub` is a stand-in's URL with `cache` for its models, and `glue` a folder with RTE. */
export async function readings({ glueTask, loadEncoder, loadUseLite, taskByName }, hub, cache, glue) {
  const refusal = (promise) => promise.then(() => "none", (error) => error.message);
  const fetched = await loadEncoder("acme/tiny-roberta", { hubUrl: hub, cacheFolder: cache });
  const useLite = await loadUseLite();
  const ids = ({ train, dev }) => [...train, ...dev].map(({ id }) => id);
  return {
    hub: sums(fetched),
    tokens: fetched.tokenizer.encode("a b c"),
    useLite: sums(useLite),
    sentiment: ids(await taskByName("sentiment").load()),
    parquet: ids(await glueTask("RTE", glue).load()),
    missing: await refusal(loadEncoder("./nowhere")),
    notText: await refusal(glueTask("CoLA", glue).load()),
  };
}

const sums = ({ weights }) =>
  [...weights].map(([name, { data }]) => [name, data.reduce((sum, value) => sum + value, 0)]);
