-- Rows of a window join, without aggregates.
CREATE TABLE window_rows (person BIGINT, auction BIGINT, starttime TIMESTAMP(3),
    endtime TIMESTAMP(3)) WITH (${sink});

INSERT INTO window_rows
SELECT P.id, A.id, P.window_start, P.window_end
FROM (SELECT * FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))) P
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))) A
ON P.id = A.seller AND P.window_start = A.window_start AND P.window_end = A.window_end;
