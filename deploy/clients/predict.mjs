// Ask a served classifier about an image by REST, with Node.js 18 or newer and no package; browsers have fetch too.
//
//     node predict.mjs http://localhost:8501 mnist digit.png
import { readFile } from "node:fs/promises";

const [server, model, image] = process.argv.slice(2);
const b64 = (await readFile(image)).toString("base64");
const response = await fetch(`${server}/v1/models/${model}:predict`, {
  method: "POST",
  body: JSON.stringify({ instances: [{ b64 }] }),
  signal: AbortSignal.timeout(30_000),
});
const answer = await response.json();
if (!response.ok) {
  throw new Error(answer.error);
}
const [{ probabilities, labels }] = answer.predictions;
labels
  .map((label, index) => [label, probabilities[index]])
  .sort((one, other) => other[1] - one[1])
  .forEach(([label, score]) => console.log(`${label} ${score.toFixed(4)}`));
