/**
 * Between the domain (shared/desired.ts) and the messages of the contract, both ways. Whatever comes from the wire is not trusted:
 * a field that is missing or outside its allow-list throws InvalidField with its path.
 */
export {
  durationToMs, msToDuration, msToTimestamp, optionalProtocolFromWire, protocolFromWire, protocolToWire, rangeFromWire, rangeToWire,
  targetFromWire, targetToWire,
} from './wire/basics.js';
export { conflictToWire } from './wire/conflict.js';
export { leakId, leaksFromWire, leakToWire } from './wire/leak.js';
export { deltaFromWire, deltaToWire, limitsToWire, objectFromWire, objectToWire } from './wire/state.js';
export { tunnelSpecFromWire, tunnelSpecToWire, tunnelStateToWire, tunnelStatisticsToWire } from './wire/tunnel.js';
export { containerFromWire, containerToWire, credentialSpecsFromWire, credentialSpecsToWire, credentialsFromWire, credentialsToWire } from './wire/container.js';
export {
  heartbeatFromWire, heartbeatToWire, helloFromWire, helloToWire, MAX_IDLE, reportFromWire, reportToWire, type AgentHeartbeat, type AgentHello,
} from './wire/agent.js';
