import { defineStage } from 'podline';
import { barChart, heatMap, page, statTiles, tableOf } from './report-page.js';

interface Cell {
  airport: string;
  state: string;
  month: number;
  hour: number;
  flights: number;
  late: number;
  delayMinutes: number;
}

interface Group {
  name: string;
  flights: number;
  late: number;
  delayMinutes: number;
}

const monthNames = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const airportsShown = 15;

function groupBy(cells: readonly Cell[], nameOf: (cell: Cell) => string): Group[] {
  const groups = new Map<string, Group>();
  for (const cell of cells) {
    const name = nameOf(cell);
    const group = groups.get(name) ?? { name, flights: 0, late: 0, delayMinutes: 0 };
    group.flights += cell.flights;
    group.late += cell.late;
    group.delayMinutes += cell.delayMinutes;
    groups.set(name, group);
  }
  return [...groups.values()];
}

const meanDelay = (group: Group): number => (group.flights === 0 ? 0 : group.delayMinutes / group.flights);
const lateShare = (group: Group): number => (group.flights === 0 ? 0 : group.late / group.flights);
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
const minutes = (value: number): string => `${value.toFixed(1)} min`;
const count = (value: number): string => value.toLocaleString('en-US');

export default defineStage({
  parameters: { lateAfterMinutes: 'number' },
  files(inputs, ctx) {
    const cells = inputs.only().toRows() as unknown as Cell[];
    const [all] = groupBy(cells, () => 'all');
    if (all === undefined) return { 'report.html': page('No flights', 'The input held no flight with all its values.', []) };

    const byHour = groupBy(cells, (cell) => String(cell.hour)).sort((a, b) => Number(a.name) - Number(b.name));
    const byMonth = groupBy(cells, (cell) => String(cell.month)).sort((a, b) => Number(a.name) - Number(b.name));
    const byAirport = groupBy(cells, (cell) => cell.airport).sort((a, b) => b.flights - a.flights || (a.name < b.name ? -1 : 1));
    const busiest = byAirport.slice(0, airportsShown);
    const busy = new Set(busiest.map((group) => group.name));
    const grid = new Map(groupBy(cells.filter((cell) => busy.has(cell.airport)), (cell) => `${cell.airport} ${String(cell.hour)}`).map((group) => [group.name, group]));
    const worstHour = byHour.reduce((worst, group) => (meanDelay(group) > meanDelay(worst) ? group : worst));
    const lateAfter = String(ctx.parameters.lateAfterMinutes);

    const html = page('US flights, by airport, month and hour', `${count(all.flights)} flights. Late means more than ${lateAfter} minutes after schedule.`, [
      statTiles([
        ['Flights', count(all.flights)],
        ['Airports', count(byAirport.length)],
        ['Mean delay', minutes(meanDelay(all))],
        ['Late', percent(lateShare(all))],
        ['Worst hour', `${worstHour.name.padStart(2, '0')}:00, ${minutes(meanDelay(worstHour))}`],
      ]),
      barChart('Mean delay by hour of departure', byHour.map((group) => ({ label: group.name, value: meanDelay(group) })), minutes),
      barChart('Share of late flights by month', byMonth.map((group) => ({ label: monthNames[Number(group.name) - 1] ?? group.name, value: lateShare(group) })), percent),
      heatMap(
        `Mean delay of the ${String(busiest.length)} busiest airports, hour by hour`,
        busiest.map((group) => group.name),
        Array.from({ length: 24 }, (_, hour) => String(hour)),
        (airport, hour) => {
          const group = grid.get(`${airport} ${hour}`);
          return group === undefined ? undefined : meanDelay(group);
        },
        minutes,
      ),
      tableOf(
        'The busiest airports',
        ['Airport', 'Flights', 'Mean delay', 'Late'],
        busiest.map((group) => [group.name, count(group.flights), minutes(meanDelay(group)), percent(lateShare(group))]),
      ),
    ]);
    const numbers = { lateAfterMinutes: ctx.parameters.lateAfterMinutes, all, byHour, byMonth, byAirport };
    return { 'report.html': html, 'report.json': `${JSON.stringify(numbers, undefined, 2)}\n` };
  },
});
