/** What happens to the fleet besides its own doing: callers, clients, and everything that can go wrong. */
import { NO_STATE } from '../../agent/state/accepted.js';
import type { Callers, Clients } from './callers.js';
import type { CoordinatorMachine } from './coordinator.js';
import type { Machine } from './machine.js';
import type { Operators } from './operators.js';
import { USUAL } from './kernel.js';
import type { Chance } from './random.js';
import { Life, type Time } from './time.js';
import type { Stored } from './database.js';
import type { Truth, World } from './truth.js';

export type Stage = { world: World; time: Time; coordinator: CoordinatorMachine; machines: Machine[]; clone: (original: Machine) => Machine; callers: Callers; operators: Operators; clients: Clients; truth: Truth; backup: Stored | undefined };

/** Does something, and says what. */
type Act = (stage: Stage, chance: Chance) => string;

const NATURE = new Life();

/** How often each, relative to the others. */
const ACTIONS: readonly (readonly [number, Act])[] = [
  [300, ({ callers }, chance) => callers.allocate(chance)],
  [15, ({ callers }, chance) => callers.batch(chance)],
  [60, ({ callers }, chance) => callers.retry(chance)],
  [160, ({ callers }, chance) => callers.release(chance)],
  [80, ({ callers }, chance) => callers.move(chance)],
  [8, ({ operators }, chance) => operators.reclaim(chance)],
  [14, ({ operators }, chance) => operators.setDuty(chance)],
  [6, ({ operators }, chance) => operators.hold(chance)],
  [10, ({ operators }, chance) => operators.resize(chance)],
  [10, ({ operators }, chance) => operators.forget(chance)],
  [15, ({ operators }, chance) => operators.createOne(chance)],
  [4, ({ operators }, chance) => operators.override(chance)],
  [5, retireMachine],
  [20, ({ callers }) => callers.look()],
  [300, ({ clients }, chance) => clients.connect(chance)],
  [40, ({ clients }, chance) => clients.leave(chance)],
  [30, killAgent],
  [15, rebootMachine],
  [30, cutPath],
  [15, slowPath],
  [12, pauseMachine],
  [15, flushRules],
  [6, fillDisk],
  [12, stallChildren],
  [12, killCoordinator],
  [6, pauseCoordinator],
  [8, spoilDatabase],
  [10, cloneMachine],
  [10, () => 'nothing'],
];

/** An older copy of the coordinator's database takes its place: in every second run, for it gives up much of what the others look at. */
const RESTORES: readonly (readonly [number, Act])[] = [
  [10, backUp],
  [5, restoreBackup],
  [5, ({ callers }, chance) => callers.waive(chance)],
];

/** Processes of others take ports of the pool, and environments get other numbers where their callers said so. */
const CONFLICTS: readonly (readonly [number, Act])[] = [
  [40, takePort],
  [20, leavePorts],
  [80, ({ callers }, chance) => callers.allocateFlexibly(chance)],
];

/** How often each action is taken in one run. */
export type Mood = readonly (readonly [number, Act])[];

/** Every run has a character of its own: what is rare in one is frequent in another, so that they meet in every way. */
export function moodOf(chance: Chance): Mood {
  const usual = [...ACTIONS, ...(chance.oneIn(2) ? RESTORES : [])].map(([weight, action]) => [weight * chance.pick([0.1, 0.4, 1, 1, 3]), action] as const);
  return chance.oneIn(3) ? [...usual, ...CONFLICTS] : usual;
}

export function act(stage: Stage, mood: Mood, chance: Chance): string {
  let dice = chance.next() * mood.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, action] of mood) {
    dice -= weight;
    if (dice < 0) return action(stage, chance);
  }
  return 'nothing';
}

/** Ends every fault that is under way. */
export function heal(stage: Stage): void {
  const { coordinator, machines } = stage;
  for (const machine of [...machines]) if (machines.some((other) => other !== machine && other.host === machine.host)) remove(stage, machine);
  for (const machine of machines) {
    Object.assign(machine.path, { up: true, down: true, slowMs: 0 });
    Object.assign(machine.manners, USUAL);
    machine.diskIsFull = false;
    machine.foreign.clear();
    machine.isGone = false;
    if (machine.isPaused) machine.resume(true);
    machine.start();
  }
  coordinator.database.weather = 'fine';
  if (coordinator.isPaused) coordinator.resume(true);
  coordinator.start();
}

/** Mostly soon, sometimes after the host was given up for lost. */
function duration(chance: Chance): number {
  return chance.oneIn(3) ? chance.between(5_000, 15_000) : chance.between(50, 3_000);
}

function later({ time }: Stage, delayMs: number, act: () => void): void {
  time.plan(delayMs, NATURE, act);
}

function killAgent(stage: Stage, chance: Chance): string {
  const machine = chance.pick(stage.machines);
  const downMs = chance.oneIn(2) ? 0 : duration(chance);
  machine.kill();
  later(stage, downMs, () => { machine.start(); });
  return `kill -9 the agent of ${machine.host}, back after ${downMs} ms`;
}

function takePort({ machines, world: { ports } }: Stage, chance: Chance): string {
  const machine = chance.pick(machines);
  const port = chance.between(ports.first, ports.last);
  machine.foreign.add(port);
  machine.hadForeign.add(port);
  return `a process of ${machine.host} listens on ${port}`;
}

function leavePorts({ machines }: Stage, chance: Chance): string {
  const machine = chance.pick(machines);
  machine.foreign.clear();
  return `no process of ${machine.host} listens any more`;
}

function rebootMachine(stage: Stage, chance: Chance): string {
  const machine = chance.pick(stage.machines);
  const downMs = duration(chance);
  machine.reboot();
  later(stage, downMs, () => { machine.start(); });
  return `reboot ${machine.host}, ${downMs} ms`;
}

function cutPath(stage: Stage, chance: Chance): string {
  const { path, host } = chance.pick(stage.machines);
  const forMs = duration(chance);
  const what = chance.pick(['up', 'down', 'both'] as const);
  if (what !== 'down') path.up = false;
  if (what !== 'up') path.down = false;
  later(stage, forMs, () => { Object.assign(path, { up: true, down: true }); });
  return `cut the path of ${host} (${what}) for ${forMs} ms`;
}

function slowPath(stage: Stage, chance: Chance): string {
  const { path, host } = chance.pick(stage.machines);
  path.slowMs = chance.between(20, 900);
  later(stage, duration(chance), () => { path.slowMs = 0; });
  return `slow the path of ${host} by ${path.slowMs} ms`;
}

function pauseMachine(stage: Stage, chance: Chance): string {
  const machine = chance.pick(stage.machines);
  if (machine.isPaused) return 'nothing';
  const forMs = duration(chance);
  machine.pause();
  const keepsTime = chance.oneIn(2);
  later(stage, forMs, () => { if (machine.isPaused) machine.resume(keepsTime); });
  return `pause ${machine.host} for ${forMs} ms, its clock ${keepsTime ? 'goes on' : 'stands still'}`;
}

function backUp(stage: Stage): string {
  if (stage.truth.isUnknown) return 'nothing';
  stage.backup = stage.coordinator.database.copy();
  return `back the database up at ${stage.backup.gateway.epoch}.${stage.backup.gateway.sequence}`;
}

/** The coordinator's disk is lost; the newest backup takes its place. */
function restoreBackup(stage: Stage, chance: Chance): string {
  const { backup, coordinator, machines, truth, callers } = stage;
  if (backup === undefined) return 'nothing';
  const { epoch, sequence } = backup.gateway;
  coordinator.kill();
  coordinator.database.restore(backup);
  stage.backup = undefined;
  truth.restored(machines.some(({ disk: { version, session }, host }) => session > (backup.hosts.get(host)?.session ?? 0)
    || (version !== undefined && (version.epoch > epoch || version.revision > sequence))));
  callers.forgetAnswers();
  const downMs = chance.between(0, 3_000);
  later(stage, downMs, () => { coordinator.start(); });
  return `restore the backup of ${epoch}.${sequence}, back after ${downMs} ms`;
}

/** A copy of a whole disk is started elsewhere; after a while one of the two is switched off. */
function cloneMachine(stage: Stage, chance: Chance): string {
  const { machines, world } = stage;
  const hosts = machines.filter(({ options }) => options.roles.includes('host'));
  const original = chance.pick(hosts);
  if (world.scope === 'host' || original.isGone || hosts.some((other) => other !== original && other.host === original.host)) return 'nothing';
  const clone = stage.clone(original);
  clone.disk = original.disk;
  machines.push(clone);
  clone.start();
  const forMs = duration(chance);
  const victim = chance.pick([original, clone]);
  later(stage, forMs, () => { remove(stage, victim); });
  later(stage, forMs + chance.between(0, 2_000), () => { stage.callers.ask({ kind: 'replaceHost', actor: 'operator', host: original.host, reason: 'simulated' }); });
  return `clone ${original.host} to ${clone.address}; after ${forMs} ms ${victim.address} is switched off`;
}

/** Switches a machine off for ever, unless it is the last one of its host. */
function remove({ machines }: Stage, machine: Machine): void {
  if (machine.isGone || !machines.some((other) => other !== machine && other.host === machine.host)) return;
  machine.reboot();
  machine.isGone = true;
  machines.splice(machines.indexOf(machine), 1);
}

/** Switched off and said to be off; a machine of its name comes later, and remembers nothing. */
function retireMachine(stage: Stage, chance: Chance): string {
  const { machines, operators } = stage;
  const machine = chance.pick(machines);
  if (machine.isGone || machines.some((other) => other !== machine && other.host === machine.host)) return 'nothing';
  machine.reboot();
  machine.isGone = true;
  machine.disk = NO_STATE;
  const offMs = chance.between(3_000, 20_000);
  for (const delayMs of [chance.between(0, 3_000), chance.between(3_000, offMs)]) later(stage, delayMs, () => { if (machine.isGone) operators.forgetWhatIsOff(machine.host); });
  later(stage, offMs, () => {
    machine.isGone = false;
    operators.create(machine.host);
    machine.start();
  });
  return `switch ${machine.host} off for ${offMs} ms, and forget it`;
}

function flushRules(stage: Stage, chance: Chance): string {
  const machine = chance.pick(stage.machines);
  machine.kernel.setRules({ forwards: [], leased: machine.kernel.rules.leased });
  return `flush the nat table of ${machine.host}`;
}

function fillDisk(stage: Stage, chance: Chance): string {
  const machine = chance.pick(stage.machines);
  machine.diskIsFull = true;
  later(stage, duration(chance), () => { machine.diskIsFull = false; });
  return `fill the disk of ${machine.host}`;
}

function stallChildren(stage: Stage, chance: Chance): string {
  const { manners, host } = chance.pick(stage.machines);
  Object.assign(manners, { failOneIn: 3, stallOneIn: 3 });
  later(stage, duration(chance), () => { Object.assign(manners, USUAL); });
  return `let children of ${host} stall and fail`;
}

function killCoordinator(stage: Stage, chance: Chance): string {
  const { coordinator } = stage;
  const downMs = chance.oneIn(2) ? chance.between(0, 200) : duration(chance);
  const isPower = chance.oneIn(2);
  if (isPower) coordinator.powerCut();
  else coordinator.kill();
  later(stage, downMs, () => { coordinator.start(); });
  return `${isPower ? 'cut the power of' : 'kill -9'} the coordinator, back after ${downMs} ms`;
}

function pauseCoordinator(stage: Stage, chance: Chance): string {
  const { coordinator } = stage;
  if (coordinator.isPaused) return 'nothing';
  const forMs = duration(chance);
  const keepsTime = chance.oneIn(2);
  coordinator.pause();
  later(stage, forMs, () => { if (coordinator.isPaused) coordinator.resume(keepsTime); });
  return `pause the coordinator for ${forMs} ms`;
}

function spoilDatabase(stage: Stage, chance: Chance): string {
  const { database } = stage.coordinator;
  database.weather = chance.pick(['full', 'failing'] as const);
  later(stage, chance.between(10, 3_000), () => { database.weather = 'fine'; });
  return `the coordinator's disk is ${database.weather}`;
}
