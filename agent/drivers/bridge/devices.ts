/** Finds the port of the bridge behind which a container is: the other end of its device, looked up from inside its network namespace. */
import { canonicalAddress } from '../../../shared/names.js';
import type { RunChild } from '../child.js';
import { isPortName } from './table.js';

export type Device = { ifname: string; ifindex: number; link_index?: number; addr_info?: { local?: string }[] };

/** Throws when the container is gone, or none of its devices has the address. */
export async function bridgePortOf(run: RunChild, { pid, address }: { pid: number; address: string }): Promise<string> {
  const inside = devicesIn((await run('nsenter', ['--target', String(pid), '--net', 'ip', '-json', 'address', 'show'])).stdout);
  const peer = inside.find((device) => device.addr_info?.some(({ local }) => local !== undefined && canonicalAddress(local) === address))?.link_index;
  if (peer === undefined) throw new Error(`no device of process ${pid} has the address ${address}`);
  const port = devicesIn((await run('ip', ['-json', 'link', 'show', 'type', 'veth'])).stdout).find(({ ifindex }) => ifindex === peer)?.ifname;
  if (port === undefined || !isPortName(port)) throw new Error(`the other end of the device with ${address} is not on this host`);
  return port;
}

function devicesIn(json: string): Device[] {
  return (JSON.parse(json === '' ? '[]' : json) as Partial<Device>[]).filter((device): device is Device => device.ifname !== undefined && device.ifindex !== undefined);
}
