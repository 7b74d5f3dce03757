"""The next runs of schedules; reads and writes as src/test/cronnext.c.

The schedules are read by croniter; its search for the next run has faults (in
1.3 it may miss the first days of March), so days, hours and minutes are tried
here one after the other.
"""
import datetime
import sys

from croniter import croniter

RUNS = 5
DAY = 86400
# both look so far ahead for each run
SECONDS_MAX = 50 * 366 * DAY
EPOCH = datetime.date(1970, 1, 1)


def day_fits(text, fields, day):
    """Does a day, counted from 1970, fit?"""
    date = EPOCH + datetime.timedelta(days=day)
    if not fits(fields[3], date.month):
        return False
    of_month = fits(fields[2], date.day)
    of_week = fits(fields[4], date.isoweekday() % 7)
    # where one of them begins with "*" both must fit, as in Vixie's cron
    if text[2].startswith("*") or text[4].startswith("*"):
        return of_month and of_week
    return of_month or of_week


def fits(field, value):
    return field == ["*"] or value in field


def values(field, count):
    return [n for n in range(count) if fits(field, n)]


def next_run(text, fields, after):
    """The first run after a local time in seconds, or None."""
    for day in range(after // DAY, (after + SECONDS_MAX) // DAY + 1):
        if not day_fits(text, fields, day):
            continue
        for hour in values(fields[1], 24):
            for minute in values(fields[0], 60):
                run = day * DAY + hour * 3600 + minute * 60
                if run > after:
                    return run if run < after + SECONDS_MAX else None
    return None


for line in sys.stdin:
    offset, after, schedule = line.rstrip("\n").split("\t")
    try:
        fields = croniter.expand(schedule)[0]
    except Exception:
        print("invalid")
        continue
    # names like @weekly stand for schedules whose day or weekday is "*"
    text = ["*"] * 5 if schedule.startswith("@") else schedule.split()
    runs = []
    run = int(after) + int(offset)
    while len(runs) < RUNS:
        run = next_run(text, fields, run)
        if run is None:
            break
        runs.append(str(run - int(offset)))
    print(" ".join(runs))
