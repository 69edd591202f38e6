/**
 * The fair opponent of a page over HTTP, as a process of its own: `node bench/raw-list-server.ts <store> <socket> <queries>`, where
 * the queries are a JSON list of statements with their parameters. `GET /<index>` answers the stored documents of its rows, joined.
 * No router, no permission, no view. Prints one line of JSON when it serves.
 */
import { createServer } from 'node:http';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';

const [path, socket, queries] = process.argv.slice(2) as [string, string, string];
const database = new DatabaseSync(path, { readOnly: true });
const prepared = (JSON.parse(queries) as { sql: string; parameters: SQLInputValue[] }[]).map(
  ({ sql, parameters }) => ({ statement: database.prepare(sql), parameters }),
);

const server = createServer((request, response) => {
  const { statement, parameters } = prepared[Number(request.url?.slice(1))]!;
  const documents = statement.all(...parameters).map(({ document }) => String(document));
  const body = Buffer.from(`{"items":[${documents.join(',')}],"next_cursor":null}`);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
});
server.listen(socket, () => console.log(JSON.stringify({ socket, pid: process.pid })));
process.once('SIGTERM', () => process.exit(0));
