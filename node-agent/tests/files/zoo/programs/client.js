// Speaks to an address by Node's ways, and prints what each gives: its answer, or its error's code.
'use strict';

const dgram = require('node:dgram');
const dns = require('node:dns');
const http = require('node:http');
const net = require('node:net');

const [mode, subject, port] = process.argv.slice(2);
const at = { host: subject, port: Number(port) };
const url = `http://${net.isIPv6(subject) ? `[${subject}]` : subject}:${port}`;

const stream = () =>
  new Promise((resolve, reject) => {
    const socket = net.connect(at, () => {
      resolve([socket.remoteAddress, socket.remotePort]);
      socket.end();
    });
    socket.on('error', reject);
  });

const request = () =>
  new Promise((resolve, reject) => {
    const asked = http.request(`${url}/second`, { method: 'POST' }, (answer) => {
      let body = '';
      answer.on('data', (data) => (body += data));
      answer.on('end', () => resolve([answer.statusCode, body]));
    });
    asked.on('error', reject);
    asked.end('said');
  });

const fetched = async () => {
  const answer = await fetch(`${url}/first`);
  return [answer.status, await answer.text()];
};

const datagram = (connected) => () =>
  new Promise((resolve, reject) => {
    const socket = dgram.createSocket(net.isIPv6(subject) ? 'udp6' : 'udp4');
    socket.on('error', reject);
    socket.on('message', (data, source) => {
      resolve([source.address, source.port, data.toString()]);
      socket.close();
    });
    if (connected) {
      socket.connect(at.port, at.host, () => socket.send('connected'));
    } else {
      socket.send('unconnected', at.port, at.host);
    }
  });

// The C library's resolver, and Node's own.
const lookup = async () => {
  const found = await dns.promises.lookup(subject, { all: true });
  return found.map(({ address }) => address).sort();
};
const resolve = async () => {
  const found = await Promise.all([dns.promises.resolve4(subject), dns.promises.resolve6(subject)]);
  return found.flat().sort();
};

const steps = {
  tcp: { 'net.connect': stream, 'http.request': request, fetch: fetched },
  udp: { send: datagram(false), connect: datagram(true) },
  lookup: { 'dns.lookup': lookup, 'dns.resolve': resolve },
};

(async () => {
  for (const [name, act] of Object.entries(steps[mode])) {
    try {
      console.log(name, ...(await act()));
    } catch (error) {
      const cause = error.cause ?? error;
      console.log(name, cause.code, cause.syscall, cause.address ?? '');
      process.exitCode = 1;
    }
  }
})();
