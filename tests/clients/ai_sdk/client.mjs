// Asks a gateway by the AI SDK, and prints as JSON what the SDK reports. The requests run at the same time.
//
// stdin has a JSON array of requests, stdout gets the array of their reports. A request has `url` (the base URL),
// `provider` (a key of PROVIDERS), `model`, `prompt`, `streamed`, `tools` (true offers TOOLS), `object` (true asks
// for an object), `stop` (the client aborts after these words), and `options` (further options for the SDK).

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const PROVIDERS = {
  responses: (baseURL) => createOpenAI({ baseURL, apiKey: "none" }).responses,
  chat: (baseURL) => createOpenAI({ baseURL, apiKey: "none" }).chat,
  compatible: (baseURL) =>
    createOpenAICompatible({
      name: "voicegw",
      baseURL,
      includeUsage: true,
      supportsStructuredOutputs: true,
    }),
};
const WEATHER = { Paris: "Paris: rain", Rome: "Rome: sun" };
const TOOLS = {
  weather: tool({
    description: "Return the weather of a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => WEATHER[city],
  }),
  book: tool({
    description: "Book a journey to a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `${city}, ticket 7`,
  }),
};
const ANSWER = z.object({ city: z.string(), degrees: z.number() });

/** Return an error of the SDK as its class, its status and its message; the last one of several attempts. */
function describeError(error) {
  const last = error.lastError ?? error;
  return { name: last.name, status: last.statusCode ?? null, message: String(last.message ?? last) };
}

/** Return the options of `generateText` and `streamText` for an input. */
function request({ url, provider, model, prompt, tools, object, options }) {
  return {
    model: PROVIDERS[provider](url)(model),
    prompt,
    stopWhen: stepCountIs(5),
    maxRetries: 0,
    ...(tools ? { tools: TOOLS } : {}),
    ...(object ? { output: Output.object({ schema: ANSWER }) } : {}),
    ...options,
  };
}

/** Read a stream to its end, or abort it after the text `stop`. Return its deltas and its errors. */
async function readStream(input) {
  const controller = new AbortController();
  const result = streamText({ ...request(input), abortSignal: controller.signal, onError: () => {} });
  const report = { deltas: "", errors: [], aborted: false };
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") report.deltas += part.text;
    if (part.type === "error") report.errors.push(describeError(part.error));
    if (part.type === "abort") report.aborted = true;
    if (input.stop && report.deltas.endsWith(input.stop)) controller.abort();
  }
  return { report, result };
}

/** Return the report of a finished answer. */
async function describe(result, input) {
  const steps = await result.steps;
  return {
    text: await result.text,
    object: input.object ? await result.output : null,
    steps: steps.map((step) => ({
      text: step.text,
      calls: step.toolCalls.map((call) => [call.toolName, call.input]),
      finishReason: step.finishReason,
    })),
    usage: await result.totalUsage,
    responseId: (await result.response).id,
    warnings: (await result.warnings) ?? [],
  };
}

/** Return the report of one request. An error outside of a stream is in its `errors`, too. */
async function ask(input) {
  if (!input.streamed) {
    try {
      return { errors: [], ...(await describe(await generateText(request(input)), input)) };
    } catch (error) {
      return { errors: [describeError(error)] };
    }
  }
  const { report, result } = await readStream(input);
  if (report.aborted || report.errors.length) return report;
  return { ...report, ...(await describe(result, input)) };
}

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const requests = JSON.parse(Buffer.concat(chunks).toString("utf8"));
console.log(JSON.stringify(await Promise.all(requests.map(ask))));
