/** Refusals for names that no gateway knows. */
import { Refused } from '../keeper/refused.js';

export function unknownHost(host: string, field = 'host'): Refused {
  return new Refused({ kind: 'refused', reason: 'HOST_UNKNOWN', message: `there is no host ${host}`, field, metadata: { host } });
}

export function unknownTunnel(host: string, tunnel: string): Refused {
  return new Refused({ kind: 'refused', reason: 'TUNNEL_UNKNOWN', message: `host ${host} has no tunnel ${tunnel}`, field: 'tunnel', metadata: { host, tunnel } });
}

export function unknownEnvironment(environment: string): Refused {
  return new Refused({ kind: 'refused', reason: 'ENVIRONMENT_UNKNOWN', message: `there is no environment ${environment}`, field: 'environment', metadata: { environment } });
}

export function unknownMapping(mapping: string): Refused {
  return new Refused({ kind: 'refused', reason: 'MAPPING_UNKNOWN', message: `there is no mapping ${mapping}, or it was released`, field: 'mapping_id', metadata: { mapping } });
}
