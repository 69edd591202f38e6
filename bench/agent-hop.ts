/** The least that any HTTP face over the resident agent can cost: one hop, nothing looked up, nothing recorded. */
import { createServer } from 'node:http';
import { connectAgent } from '../src/extensions/local/native/agent-client.ts';

const [socketPath, agentSocketPath, token] = process.argv.slice(2) as [string, string, string];
const agent = connectAgent({ socketPath: agentSocketPath, token: Buffer.from(token, 'hex') });

createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { command } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { command: string[] };
  const session = await agent.exec({ argv: command });
  for await (const _ of session.output) {
    // /bin/true says nothing
  }
  const { exitCode } = await session.exit;
  const body = JSON.stringify({ exit_code: exitCode });
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}).listen(socketPath, () => console.log('{}'));
