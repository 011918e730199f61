// Asks the service SERVICE for a sum, a number at a time.
import { openSync, readSync, writeSync } from 'node:fs';

const service = process.argv[2];
const sum = openSync(`${service}/connect`, 'r+'); // our own connection, until it is closed
const answer = Buffer.alloc(4096);

for (const number of ['3', '4', 'five', '5']) {
  writeSync(sum, `${number}\n`); // one write is one message
  const size = readSync(sum, answer); // waits for the answer
  if (size === 0) throw new Error('the server is gone');
  console.log(`${number} -> ${answer.toString('utf8', 0, size).trimEnd()}`);
}
