"""The next runs of schedules by croniter; reads and writes as src/test/cronnext.c."""
import datetime
import sys

from croniter import croniter

RUNS = 5
EPOCH = datetime.datetime(1970, 1, 1)

for line in sys.stdin:
    offset, after, schedule = line.rstrip("\n").split("\t")
    local = EPOCH + datetime.timedelta(seconds=int(after) + int(offset))
    fields = schedule.split()
    # Where day or weekday begins with "*" both must fit, as in Vixie's cron;
    # croniter looks for a bare "*" only and has to be told.
    either = len(fields) != 5 or not (fields[2].startswith("*") or fields[4].startswith("*"))
    # Where either is enough and one of them, without a "*", is all days, every
    # day fits; croniter takes such a field for a "*" and follows the other.
    if either and len(fields) == 5 and ["*"] in [croniter.expand(schedule)[0][n] for n in (2, 4)]:
        schedule = " ".join([fields[0], fields[1], "*", fields[3], "*"])
    runs = []
    try:
        times = croniter(schedule, local, day_or=either)
        for _ in range(RUNS):
            run = times.get_next(datetime.datetime)
            runs.append(str(int((run - EPOCH).total_seconds()) - int(offset)))
    except Exception as error:
        # no date within fifty years, or none ever
        if type(error).__name__ not in ("CroniterBadDateError",):
            runs = ["invalid"]
    print(" ".join(runs))
