-- Growing windows with aggregates of some of the rows.
CREATE TABLE cumulate_filter (endtime TIMESTAMP(3), cheap BIGINT, google BIGINT, bidders BIGINT) WITH (${sink});

INSERT INTO cumulate_filter
SELECT window_end, count(*) FILTER (WHERE price < 1000), sum(price) FILTER (WHERE channel = 'Google'),
    count(DISTINCT bidder) FILTER (WHERE price > 100)
FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '1' SECOND, INTERVAL '5' SECOND))
GROUP BY window_start, window_end;
