CREATE TABLE window_left_join (id BIGINT, endtime TIMESTAMP(3), n BIGINT) WITH (${sink});

INSERT INTO window_left_join
SELECT P.id, P.endtime, A.n
FROM (
    SELECT id, window_end AS endtime
    FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
    GROUP BY id, window_start, window_end
) AS P
LEFT JOIN (
    SELECT seller, window_end AS endtime, count(*) AS n
    FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
    GROUP BY seller, window_start, window_end
) AS A
ON P.id = A.seller AND P.endtime = A.endtime;
