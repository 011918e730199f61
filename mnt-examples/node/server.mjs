// Serves SERVICE, four clients at once: each message is a number, the answer the sum of this client's numbers.
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { isMainThread, Worker } from 'node:worker_threads';

const accept = `${process.argv[2]}/accept`;

// Each clerk is a thread of its own, and waits in readSync. Reads with promises or callbacks would wait in node's pool
// of four threads: four silent clients, and no file of the whole program could be read or written any more.
if (isMainThread) {
  for (let clerk = 0; clerk < 4; clerk++) new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) });
} else {
  for (let client; (client = open()) !== undefined; closeSync(client)) {
    try {
      serve(client);
    } catch (error) {
      // It was killed, or did not wait for its answer.
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error;
    }
  }
}

// The end of another client; undefined when the service was removed.
function open() {
  try {
    return openSync(accept, 'r+');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}

function serve(client) {
  let sum = 0;
  const request = Buffer.alloc(4096);
  // The first read waits for a client, the next for its messages; 0 when it has closed its end.
  for (let size; (size = readSync(client, request)) > 0; ) {
    const text = request.toString('utf8', 0, size).trimEnd();
    const answer = /^\d+$/.test(text) ? (sum += Number(text)) : 'not a number';
    writeSync(client, `${answer}\n`);
  }
}
