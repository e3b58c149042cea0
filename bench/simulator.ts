/**
 * Fault schedules a second in virtual time, on one core: each of 15 virtual minutes or more, with three faults or more and
 * about 22 callbacks that are answered by streams; drawing, carrying out and judging included.
 *
 * There is no other side. The figure is of this machine, and only of one that has nothing else to do; the processor time
 * beside it says how far the machine was this process's own.
 */
import { campaign } from "@openws/conformance";
import { say } from "./row.ts";

const seconds = 15;

campaign({ seed: 1, runs: 1_500 });

const began = performance.now();
const cpu = process.cpuUsage();
const { schedules, failure } = campaign({
  seed: 10_000,
  runs: Infinity,
  goOn: () => performance.now() - began < seconds * 1_000,
});
const { user, system } = process.cpuUsage(cpu);
const wallS = (performance.now() - began) / 1_000;
process.stderr.write(
  `${schedules} schedules in ${wallS.toFixed(1)} s, ${((user + system) / 1e6).toFixed(1)} s of processor time\n`,
);
if (failure !== undefined) {
  process.stderr.write(`${failure.report}\n`);
  process.exitCode = 1;
}
const perSecond = schedules / wallS;
say({ what: "fault schedules in sim", unit: "/s", ours: perSecond, aim: "≥ 1,000 /s", met: perSecond >= 1_000 });
