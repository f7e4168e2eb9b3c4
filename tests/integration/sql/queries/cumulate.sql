CREATE TABLE cumulate (auction BIGINT, n BIGINT, starttime TIMESTAMP(3), endtime TIMESTAMP(3)) WITH (${sink});

INSERT INTO cumulate
SELECT auction, count(*) AS n, window_start, window_end
FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;
