import { expect, it } from 'vitest';
import { Deadlines } from '../../../runtime/api/deadlines.js';
import { ManualClock } from '../../support/manual-clock.js';

it('tells once of each that was not over in time, and of no other', () => {
  const clock = new ManualClock();
  const told: string[] = [];
  const deadlines = new Deadlines<{ name: string }>(clock, 100, ({ name }) => told.push(name));
  const [early, over, late] = [{ name: 'early' }, { name: 'over' }, { name: 'late' }];
  deadlines.add(early);
  deadlines.add(over);
  clock.step(60);
  deadlines.add(late);
  deadlines.remove(over);
  clock.step(40);
  expect(told).toEqual(['early']);
  clock.step(59);
  expect(told).toEqual(['early']);
  clock.step(1);
  expect(told).toEqual(['early', 'late']);
  // The timer ended with the last of them; the next one begins it again.
  deadlines.add(early);
  clock.step(100);
  expect(told).toEqual(['early', 'late', 'early']);
});

it('tells of nothing once it is closed', () => {
  const clock = new ManualClock();
  const told: string[] = [];
  const deadlines = new Deadlines<{ name: string }>(clock, 100, ({ name }) => told.push(name));
  deadlines.add({ name: 'a' });
  deadlines.close();
  deadlines.close();
  clock.step(1_000);
  expect(told).toEqual([]);
});
