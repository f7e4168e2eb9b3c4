CREATE TABLE windows_of_windows (endtime TIMESTAMP(3), most BIGINT, auctions BIGINT) WITH (${sink});

INSERT INTO windows_of_windows
SELECT endtime, max(n) AS most, count(*) AS auctions
FROM (
    SELECT auction, count(*) AS n, window_end AS endtime
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end
) AS counts
GROUP BY endtime;
